"""Ozari as its pages describe it; what they leave open is a switch."""
