// The language switch keeps the section that is being read, and remembers the choice for the landing page.
document.querySelector(".lang-switch")?.addEventListener("click", ({ currentTarget: link }) => {
  localStorage.setItem("book-language", link.hreflang);
  const read = [...document.querySelectorAll("article section[id]")]
    .filter(section => section.getBoundingClientRect().top < innerHeight / 3).at(-1);
  const first = document.querySelector("article section[id]");
  link.hash = read && read !== first ? read.id : "";
});
