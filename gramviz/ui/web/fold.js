// Controls that take too much room on a narrow page are folded away there, and always in sight on a wide one.

const NARROW = 640; // CSS pixels, as in the style sheets

/** Keep the `.gv-fold` parts of a component open while it is wide; on a narrow page the visitor unfolds them. */
function foldWhenNarrow(component) {
  let wasWide = null;
  new ResizeObserver(() => {
    if (component.clientWidth === 0) return; // on a tab that is not open
    const wide = component.clientWidth > NARROW;
    if (wide === wasWide) return;
    wasWide = wide;
    component.classList.toggle("gv-wide", wide);
    for (const part of component.querySelectorAll(".gv-fold")) part.open = wide;
  }).observe(component);
}
