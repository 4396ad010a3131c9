"""Servers that do not wait for all: shared by real ones and simulated ones.

consistency   Synchronous, Asynchronous, StaleSynchronous: when a server steps
trace         the order of arrivals that a run leaves behind
clock         Clock, Replay: whose update arrives when
virtual_time  the runtime that trains in the order of a clock
"""
