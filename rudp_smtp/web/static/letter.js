"use strict";
for (const part of document.querySelectorAll("[data-share]")) part.style.width = part.dataset.share + "%";
