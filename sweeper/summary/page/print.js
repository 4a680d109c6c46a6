// Print with all details open, but for the lists of runs.
let closed = [];
addEventListener("beforeprint", () => {
  closed = all("details:not([open], .runs)");
  for (const details of closed) details.open = true;
});
addEventListener("afterprint", () => {
  for (const details of closed) details.open = false;
});
