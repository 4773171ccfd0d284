// What failed, and the button that asks for it once more; of components that ask by `wake` when something is `stale`.

/** Show what went wrong and offer another try; without a sentence, take both away. */
function showFailure(sentence) {
  failed = Boolean(sentence);
  showError(sentence);
  find(".gv-again").hidden = !failed;
}

find(".gv-again").addEventListener("click", () => {
  stale = true;
  wake();
  showStatus();
});
