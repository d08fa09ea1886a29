"""What runs beside the web: beat, broker and worker, which prove by one row that they live."""
