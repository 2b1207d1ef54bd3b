"""One router per noun of the contract."""
