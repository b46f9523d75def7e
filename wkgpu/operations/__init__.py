"""What is done to stored arrays: free functions of arrays and boxes, which know nothing of datasets and views."""
