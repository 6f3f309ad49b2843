"""A small shop: products, orders, and a checkout that survives crashes."""
