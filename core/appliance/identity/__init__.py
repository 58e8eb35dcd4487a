"""Who this node is, whom it trusts, and the secrets that the nodes of a cluster share.

`certificates` makes and checks the certificate of a node, `store` keeps it beside those of its peers and the pairing
secrets, `pairing` (over the password-authenticated exchange of `cpace`) introduces two nodes to each other, `rotation`
replaces the pairing secret without an outage, `derive` makes keys from it. `passwords` hashes those of users.
"""
