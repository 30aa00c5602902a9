"""Tests with engines that run models: one real Ray cluster for all of them."""
