"""The doors: live socket, REST, live feed, health, pages. FastAPI lives here and in `app.main` only."""
