"""HTTP server for one model, with a web page to try it out. Needs the extra `serve`."""
