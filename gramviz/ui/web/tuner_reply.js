// Answers to the tuner's clicks, handed on to it; they come beside the stream of its updates.

watch("value", () => {
  const value = props.value && JSON.parse(JSON.stringify(props.value));
  if (value) document.dispatchEvent(new CustomEvent("gv-tuner-reply", { detail: value }));
});
