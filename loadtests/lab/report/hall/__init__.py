"""The picture of a hall after a sale: one mark a seat, drawn from what the buyers were answered.

``plan`` names the places of an event, with a hall or without one; ``holders`` says who holds each of them; ``drawing``
draws them, and ``pair`` chooses two sales to be shown beside each other.
"""
