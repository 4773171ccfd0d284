// What is the visitor's own, told from whichever part of the page learns of a change.

/** Tell every part which checkpoints are the visitor's own now. */
function tellOwn(own) {
  window.gramvizOwn = own; // for a tab that is opened for the first time later
  document.dispatchEvent(new CustomEvent("gv-own", { detail: { own } }));
}
