// The tabs of the page, by the names that addresses have for them. They come after the components above them.

const TAB = /^gv-([a-z]+)-button$/; // ids of the tabs' buttons

const tabButtons = () => Array.from(document.querySelectorAll(".gv-tabs button[role=tab]")).filter((button) => TAB.test(button.id));
const tabNamed = (name) => tabButtons().find((button) => button.id.match(TAB)[1] === name);

/** Name of the tab that is open; undefined while there is none. */
const openTab = () => tabButtons().find((button) => button.getAttribute("aria-selected") === "true")?.id.match(TAB)[1];
