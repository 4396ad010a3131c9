"""Clients that come and go, whose updates a server reduces.

fedsgd           FedSGD: one full-batch gradient step for each client and round, by gradients or weights
fedavg           FedAvg: local epochs or local steps of SGD, then the weighted mean
fedprox          FedProx: FedAvg with a proximal term that pulls clients back to where they began
fedasync         FedAsync: each client's parameters mixed into the server's as they arrive
horvitzthompson  HorvitzThompson: FedAvg without a bias, however often which client takes part
"""
