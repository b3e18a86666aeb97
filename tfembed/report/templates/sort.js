// A click on the head of a column sorts its table by it; a second click turns the order around.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = head.querySelector("button");
    if (!button) return;
    button.addEventListener("click", () => {
      const turned = head.getAttribute("aria-sort") === head.dataset.first;
      const order = turned ? { ascending: "descending", descending: "ascending" }[head.dataset.first] : head.dataset.first;
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", order);
      const value = (row) => row.cells[column].dataset.value;
      const isText = head.classList.contains("text");
      const body = table.tBodies[0];
      const rows = [...body.rows].sort((one, other) => {
        const [a, b] = [value(one), value(other)];
        if (a === "" || b === "") return (a === "") - (b === ""); // what is not known stays last
        const difference = isText ? a.localeCompare(b) : Number(a) - Number(b);
        return order === "ascending" ? difference : -difference;
      });
      body.append(...rows);
    });
  });
}
