class QuotaExceeded(Exception):
    def __init__(self, account, limit):
        super().__init__(account, limit)
        self.account, self.limit = account, limit
