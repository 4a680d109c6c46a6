// The results: sorted by a column, numbers before texts, missing values last in both directions; filtered by text, by
// value and by what is selected in the parallel coordinates.
function key(cell) {
  if ("missing" in cell.dataset) return [2, 0];
  return "number" in cell.dataset ? [0, Number(cell.dataset.number)] : [1, cell.textContent];
}
function compare([kind, value], [otherKind, other]) {
  if (kind !== otherKind) return kind - otherKind;
  return kind === 1 ? value.localeCompare(other) : value - other;
}
function sort(table, index) {
  const headers = [...table.tHead.rows[0].cells];
  const descending = headers[index].getAttribute("aria-sort") === "ascending";
  for (const header of headers) header.removeAttribute("aria-sort");
  headers[index].setAttribute("aria-sort", descending ? "descending" : "ascending");
  const rows = [...table.tBodies[0].rows].map((row) => ({ row, key: key(row.cells[index]) }));
  const missing = ({ key: [kind] }) => Number(kind === 2);
  rows.sort((a, b) => missing(a) - missing(b) || (descending ? compare(b.key, a.key) : compare(a.key, b.key)));
  table.tBodies[0].append(...rows.map(({ row }) => row));
}

function startTable(section) {
  const table = one(".sortable", section), controls = all(".search, select[data-column]", section);
  const search = one(".search", section);
  let selected = null;  // numbers of rows; null: all

  function filter() {
    const text = search.value.toLowerCase();
    const chosen = all("select[data-column]", section).filter((select) => select.selectedIndex > 0);
    const rows = [...table.tBodies[0].rows];
    for (const row of rows) {
      const fits = chosen.every((select) => row.cells[select.dataset.column].textContent === select.value);
      const inside = selected === null || selected.has(Number(row.dataset.row));
      row.hidden = !fits || !inside || !row.textContent.toLowerCase().includes(text);
    }
    const shown = rows.filter((row) => !row.hidden).length;
    one(".shown", section).textContent = `${shown} of ${rows.length} configurations`;
  }

  all("thead button", table).forEach((button, index) => button.addEventListener("click", () => sort(table, index)));
  for (const control of controls) {
    control.value = "";  // browsers restore fields when they return to a page
    for (const name of ["input", "change"]) control.addEventListener(name, filter);
  }
  one(".clear", section).addEventListener("click", () => {
    for (const control of controls) control.value = "";
    section.dispatchEvent(new Event("clear"));
    filter();
  });
  const complete = one(".complete-table", section);
  if (complete) {
    complete.checked = false;
    complete.addEventListener("change", () => table.classList.toggle("complete", complete.checked));
  }
  section.addEventListener("brush", (event) => {
    selected = event.detail;
    filter();
  });
}
for (const section of all(".dataset")) startTable(section);
