"""What a data set is like, as one page and as numbers: `python -m training.data_report --data PATH --out FOLDER`."""
