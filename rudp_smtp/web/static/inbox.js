"use strict";
const live = document.getElementById("live");
const list = document.getElementById("list");
const news = new EventSource("/news");
async function renew() {
  const answer = await fetch("/list");
  if (answer.ok) list.innerHTML = await answer.text();
}
news.addEventListener("open", () => { live.textContent = "live"; live.classList.add("on"); renew(); });
news.addEventListener("error", () => { live.textContent = "the server is gone"; live.classList.remove("on"); });
news.addEventListener("change", renew);
