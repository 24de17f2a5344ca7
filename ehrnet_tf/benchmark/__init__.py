"""Measuring speed, power and memory, and naming the machine that was measured."""
