// The language switch keeps the section that is being read and the settings of figures, and remembers the choice for the landing page.
document.querySelector(".lang-switch")?.addEventListener("click", ({ currentTarget: link }) => {
  localStorage.setItem("book-language", link.hreflang);
  const sections = [...document.querySelectorAll("article section[id]")];
  const top = section => section.getBoundingClientRect().top;
  const named = sections.find(section => `#${section.id}` === location.hash && top(section) >= 0 && top(section) < innerHeight);
  const read = named ?? sections.filter(section => top(section) < 100).at(-1);
  link.search = location.search;
  link.hash = read && read !== sections[0] ? read.id : "";
});
