// The chooser's beginning: everything it is made of is there.

openAddressed();
find(".gv-samples").replaceChildren(...config.samples.map(sampleButton));
showRequest();
find(".gv-link").addEventListener("click", copyLink);
watchTabs();
foldWhenNarrow(root);
find("details").addEventListener("toggle", redrawLinks);
new ResizeObserver(redrawLinks).observe(find(".gv-forks"));

// For tests and for the curious: which request is the newest, and whether one is about to be sent.
root.gramviz = { token: () => request.token, waiting: () => timer !== 0, lead };
