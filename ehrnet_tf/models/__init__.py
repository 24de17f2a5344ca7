"""The network: compound scaling, layers, backbone, fusion stages, head, and the whole model."""
