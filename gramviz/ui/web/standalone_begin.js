// The page's beginning: everything it is made of is there.

showQuery();
render();
