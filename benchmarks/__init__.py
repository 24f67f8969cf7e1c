"""Speed, measured side by side with plain PyTorch."""
