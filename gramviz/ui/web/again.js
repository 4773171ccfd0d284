// What failed, and the button that asks for it once more; of components that ask by `wake` when something is `stale`.

/** Show what went wrong and offer another try; without a sentence, take both away. */
function showFailure(sentence) {
  failed = Boolean(sentence);
  showError(sentence);
  find(".gv-again").hidden = !failed;
}

const BREATH = 500; // milliseconds between two requests: one that was sent just now cannot be stopped yet
let askedAt = -BREATH, breath = 0;

/** Whether a request may be sent now; if not, `wake` looks again when it may. */
function mayAsk() {
  const rest = askedAt + BREATH - performance.now();
  if (rest <= 0) {
    askedAt = performance.now();
    return true;
  }
  clearTimeout(breath);
  breath = setTimeout(wake, rest);
  return false;
}

find(".gv-again").addEventListener("click", () => {
  stale = true;
  wake();
  showStatus();
});
