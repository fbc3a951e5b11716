"""What the environment says: variables, `.env`, addresses, proxies. Wrong values are refused."""
