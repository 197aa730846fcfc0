mod comparing;
mod seeing;
