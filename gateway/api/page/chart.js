// A line without axes, for how a number went. What it says is beside it as text.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 120;
const HEIGHT = 32;

export function newLine() {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("line");
  for (const part of ["area", "stroke"]) {
    const path = document.createElementNS(SVG, "path");
    path.classList.add(part);
    svg.append(path);
  }
  return svg;
}

// `values`: the newest last, null where nothing is known; `room`: how many there may be.
export function draw(svg, values, room) {
  const highest = Math.max(...values.filter((value) => value !== null), 1e-9);
  const step = WIDTH / (room - 1);
  const first = room - values.length;
  let stroke = "";
  let area = "";
  let start = null;
  let last = null;
  const close = () => {
    if (start !== null) area += `L${last} ${HEIGHT}L${start} ${HEIGHT}Z`;
    start = null;
  };
  values.forEach((value, index) => {
    if (value === null) return close();
    const x = ((first + index) * step).toFixed(1);
    const y = (HEIGHT - 2 - (value / highest) * (HEIGHT - 4)).toFixed(1);
    const to = `${start === null ? "M" : "L"}${x} ${y}`;
    stroke += to;
    area += to;
    if (start === null) start = x;
    last = x;
  });
  close();
  svg.querySelector(".stroke").setAttribute("d", stroke);
  svg.querySelector(".area").setAttribute("d", area);
}
