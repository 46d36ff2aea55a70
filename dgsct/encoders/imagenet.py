"""How images are normalised for every encoder that ImageNet trained: (pixel / 255 - mean) / standard deviation, RGB."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
