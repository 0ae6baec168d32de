"""Would messages that are queued fail on this code, and would those of this code fail elsewhere?"""
