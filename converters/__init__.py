"""Conversion of trained models, one file per target, installed as ``ehrnet_tf.converters``."""
