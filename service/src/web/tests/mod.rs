//! The doors, the API and the page, asked through the router, with the real worker behind them.
