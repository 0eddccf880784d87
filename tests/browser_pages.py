"""The addresses of the studio's pages."""

PAGES = ("#/", "#/run/digits-vae", "#/run/broken", "#/make/digits-vae", "#/make/wine", "#/map/digits-vae", "#/inpaint/digits-diffusion",
         "#/chat/grammar", "#/chat/bot", "#/training", "#/training/digits-vae", "#/review")  # fmt: skip
