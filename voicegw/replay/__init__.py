"""A recorded call once more: its timeline through turn taking and dialog on a virtual clock.

script    what the timeline says that the caller and the engines did
edges     leg, detector, ears and voice that do it again
dialog    the flow, asked again; or what an agent said then
run       all of it together, on the clock of `clock`
compare   what came out, beside what was recorded
"""
