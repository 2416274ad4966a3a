// What a browser has made of a page, as JSON in an element of the page that frames it. Everything outside of ASCII is escaped, and what
// HTML would escape.
"use strict";
addEventListener("load", () => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const isShown = (element) => getComputedStyle(element).display !== "none";
  const box = (element) => element.getBoundingClientRect();
  const name = (element) => {
    const style = element.getAttribute("class");
    return element.tagName + (style ? "." + style : "") + " " + JSON.stringify(element.textContent.slice(0, 40));
  };
  const meet = (a, b) =>
    Math.min(a.right, b.right) - Math.max(a.left, b.left) > 0.5 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 0.5;

  // Of these groups no two members may cover each other.
  const groups = [[...document.body.children], all("main > *")];
  for (const list of all(".facts, .notes, .legend, .shares, .words, .panels, figcaption, tr, tbody")) {
    groups.push([...list.children].filter((child) => child.tagName !== "SCRIPT"));
  }
  for (const figure of all("figure")) {
    groups.push([...all(".labels text", figure), ...all(":scope > figcaption, :scope > .axis", figure)]);
  }
  const overlaps = [];
  for (const group of groups) {
    const shown = group.filter((element) => isShown(element) && !element.matches(".unseen, script"));
    shown.forEach((a, index) => {
      for (const b of shown.slice(index + 1)) {
        if (meet(box(a), box(b))) overlaps.push(name(a) + " and " + name(b));
      }
    });
  }

  const size = ({ width, height }) => [width, height];
  const empty = all("h1, h2, p, dt, dd, li, figure, figcaption, .plot, .lines, .labels text, table, td.n, th:not(:empty), circle")
    .filter((element) => isShown(element) && size(box(element)).some((length) => length < 1));
  // A line may be level or upright.
  empty.push(...all(".lines path:not(.area)").filter((path) => size(box(path)).every((length) => length < 1)));

  // What is short has a border.
  empty.push(...all(".way rect").filter((bar) => box(bar).width + parseFloat(getComputedStyle(bar).strokeWidth) < 1 || box(bar).height < 1));

  // What is wider than its place is scrolled there.
  const outside = all("body *").filter((element) => {
    const { left, right } = box(element);
    return isShown(element) && !element.closest(".wide *, .lines, .unseen") && (left < -0.5 || right > innerWidth + 0.5);
  });
  const overflowing = all("td, th, dd").filter((cell) => cell.scrollWidth > cell.clientWidth + 1 && !cell.querySelector(".unseen"));

  const numbers = (color) => color.match(/[\d.]+/g).map(Number);
  const luminance = (color) => {
    const linear = numbers(color).slice(0, 3).map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const background = (element) => {
    const color = getComputedStyle(element).backgroundColor;
    return (numbers(color)[3] ?? 1) > 0 || !element.parentElement ? color : background(element.parentElement);
  };
  const contrast = (element) => {
    const style = getComputedStyle(element);
    const [light, dark] = [luminance(element instanceof SVGElement ? style.fill : style.color), luminance(background(element))].sort((a, b) => b - a);
    return (light + 0.05) / (dark + 0.05);
  };
  const pale = all("h1, h2, p, dt, dd, small, li, figcaption, caption, th, td, b, text").filter((element) => contrast(element) < 4.5);

  const found = {
    width: innerWidth,
    scroll_width: document.documentElement.scrollWidth,
    is_dark: matchMedia("(prefers-color-scheme: dark)").matches,
    paper: background(document.body),
    text: document.body.innerText,
    plots: all(".plot").map((plot) => ({ labels: all(".labels text", plot).filter(isShown).length, lines: all(".lines path", plot).length })),
    empty: empty.map(name),
    outside: outside.map(name),
    overflowing: overflowing.map(name),
    pale: pale.map(name),
    overlaps,
  };
  const place = parent.document.getElementById("layout");
  place.textContent = JSON.stringify(found).replace(/[<>&\u0080-\uffff]/g, (unit) => "\\u" + unit.charCodeAt(0).toString(16).padStart(4, "0"));
});
