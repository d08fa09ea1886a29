"""The usage report: what is asked, what is read, and the page, files and API that show it."""
