"""Running an autoregressive block backwards: token by token, or by iterations that end in the same."""
