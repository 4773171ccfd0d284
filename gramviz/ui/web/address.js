// The state of the page in its address, behind the #: a link opens what was seen, and no server is told of it.

const SETTLED = 250; // milliseconds without a further change; browsers refuse an address that changes all the time
const unsaid = (window.gramvizUnsaid ??= { parts: {}, timer: 0 }); // of all components: who says it, says it all

/** What the address says now. */
const addressed = () => new URLSearchParams(location.hash.slice(1));

/** Put parts of the state into the address, soon; null takes one out. */
function toAddress(parts) {
  Object.assign(unsaid.parts, parts);
  clearTimeout(unsaid.timer);
  unsaid.timer = setTimeout(sayAddress, SETTLED);
}

function sayAddress() {
  const all = addressed();
  for (const [name, value] of Object.entries(unsaid.parts)) {
    if (value === null) all.delete(name);
    else all.set(name, value);
  }
  unsaid.parts = {};
  clearTimeout(unsaid.timer);
  // what may stand behind the # as it is, so that people can read it
  const text = String(all).replaceAll("%2F", "/").replaceAll("%2C", ",").replaceAll("%3B", ";");
  history.replaceState(history.state, "", location.pathname + location.search + (text && "#" + text));
}
