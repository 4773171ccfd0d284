// Own images: several files, a folder, or a zip; uploaded as they are chosen and kept until they are cleared.

let files = []; // as Gradio knows them

async function takeFiles(list) {
  const chosen = Array.from(list).filter(({ name, type }) => type.startsWith("image/") || /\.(zip|heic|heif|avif|tiff?)$/i.test(name));
  const message = find(".gv-message");
  if (!chosen.length) return setText(message, "There was no image and no zip among these files.");
  const wanted = chosen.slice(0, config.mostImages);
  try {
    for (const [index, file] of wanted.entries()) {
      setText(message, "Uploading " + (index + 1) + " of " + wanted.length + "\u2026");
      const { path, url } = await upload(file);
      files = [...files, { path, url, meta: { _type: "gradio.FileData" } }].slice(-config.mostImages);
    }
    const left = chosen.length - wanted.length;
    setText(message, files.length + (files.length === 1 ? " file" : " files") + (left ? "; " + left + " more were left out, as " + config.mostImages + " are the most" : ""));
  } catch {
    setText(message, "A file could not be uploaded; please try again.");
  }
  find(".gv-clear-files").hidden = !files.length;
  settle();
}

for (const [button, input] of [[".gv-open", ".gv-file-list"], [".gv-folder", ".gv-file-folder"]]) {
  find(button).addEventListener("click", () => find(input).click());
  find(input).addEventListener("change", ({ target }) => {
    takeFiles(target.files);
    target.value = ""; // so that the same files can be chosen again
  });
}
find(".gv-clear-files").addEventListener("click", () => {
  files = [];
  setText(find(".gv-message"), "");
  find(".gv-clear-files").hidden = true;
  settle();
});
