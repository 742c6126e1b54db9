"""Over the air: a new model, program or overlay reaches the device, and a bad one cannot stay.

``release`` is the contract with the repository; ``docs/adr/0017-over-the-air.md`` tells who may sign what.
"""
