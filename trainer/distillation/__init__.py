"""The narrow network that ships: taught by YAMNet, on mixes of what may be learned from and of synthesised sound."""
