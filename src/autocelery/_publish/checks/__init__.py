"""What would make a live call fail that the code and the files themselves show: static, fast, nothing is run."""
