"""The page for quality engineers: Streamlit and nothing else."""
