"""What a paper takes from the report: tables as LaTeX and CSV, figures as PDF and SVG."""
