"""PyTorch reads a published version by its own DataLoader; TensorFlow is not imported.

python examples/pytorch.py DATASET [WORKERS]
"""

import sys
from typing import Any

import torch
from torch.utils.data import DataLoader

import nhwc


class Net(torch.nn.Module):
    """Scales on the device, where uint8 is a quarter of the bytes to move, then a small Conv2d."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(channels, 16, 3)
        self.dense = torch.nn.Linear(16, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images uint8 (samples, rows, cols, channels), as stored, to logits (samples, classes)."""
        pixels = images.permute(0, 3, 1, 2).float() / 255  # a view: channels first is how PyTorch's layers see it
        return self.dense(torch.relu(self.conv(pixels)).amax((2, 3)))


def main(path: str, workers: int = 0) -> None:
    """Train three epochs."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    source = nhwc.data_source(path, split="train")
    loader: DataLoader[Any] = DataLoader(
        source, batch_size=32, shuffle=True, num_workers=workers, pin_memory=device == "cuda"
    )
    channels, classes = source.contract.sizes[2], len(nhwc.Version.open(path).classes)
    net = Net(channels, classes).to(device)
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for epoch in range(3):
        seen, total = 0, 0.0
        for images, labels in loader:
            loss = torch.nn.functional.cross_entropy(net(images.to(device)), labels.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen, total = seen + len(labels), total + loss.item() * len(labels)
        print(f"epoch {epoch}: {seen} samples of {source.contract}; loss {total / seen:.3f}")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:3]))
