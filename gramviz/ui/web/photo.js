// The photograph with what is said of it, and the line for what went wrong.

function showPhotograph({ image, width, height, caption, notes }) {
  root.style.setProperty("--aspect", width / height);
  photo.querySelector("img").src = image.url;
  const lines = [caption, ...notes].filter(Boolean);
  find(".gv-caption").replaceChildren(...lines.map((line) => make("span", "", line)));
}

function showError(sentence) {
  const line = find(".gv-error");
  line.hidden = !sentence;
  setText(line, sentence ?? "");
  if (sentence) line.scrollIntoView({ block: "nearest" });
}
